"""SERAC: a memory of edits, and two small networks beside the model (Mitchell et al., 2022, https://arxiv.org/abs/2206.06520)."""
