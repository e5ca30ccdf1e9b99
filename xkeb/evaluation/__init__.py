"""Running an evaluation: jobs, answers before and after, scores, results."""
