"""What locate-then-edit methods share: context prefixes, the key and the value of a fact, second moments of keys."""
