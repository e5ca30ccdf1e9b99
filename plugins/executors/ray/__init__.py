"""Ray Core as an executor: one process plans and writes, others hold the model and answer."""
