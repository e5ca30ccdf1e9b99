"""MEND: hypernetworks that turn a fine-tuning gradient into an edit (Mitchell et al., 2022, https://arxiv.org/abs/2110.11309)."""
