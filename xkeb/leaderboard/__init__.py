"""Results for readers: the site, and the check of what is submitted."""
