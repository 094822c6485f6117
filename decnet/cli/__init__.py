"""`decnetctl`: zygotectl's verbs on the honeypot fleet, and the tenant's own."""
