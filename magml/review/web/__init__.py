"""The pages of a review: what is served, to whom, and how it looks."""
