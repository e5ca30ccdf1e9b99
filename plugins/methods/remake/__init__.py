"""A memory and demonstrations in two languages, after ReMaKE: a classifier of pairs of questions finds the edit."""
