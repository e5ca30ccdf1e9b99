"""xmem: a cross-lingual memory. A gate says which questions an edit concerns; parallel facts show how an answer crosses."""
