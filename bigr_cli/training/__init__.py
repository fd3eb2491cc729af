"""Training of both halves of the model: one loop, exact resume, runs that end as model folders."""
