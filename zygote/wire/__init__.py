"""What the manager and a zygote say to each other."""
