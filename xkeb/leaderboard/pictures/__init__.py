"""Results and published numbers as pictures: what of the rows they show, and how it is drawn as SVG."""
