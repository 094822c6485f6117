"""A small shop: a web application, a queue of tasks with its worker, and a job by the clock."""
