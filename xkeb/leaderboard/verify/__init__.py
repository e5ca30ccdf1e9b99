"""Is a result what it says it is? Every score is computed again."""
