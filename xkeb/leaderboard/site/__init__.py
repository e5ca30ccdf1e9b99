"""The site: results and published numbers become pages."""
