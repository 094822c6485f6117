"""From addresses to identities, from identities to campaigns.

Pure kernels (`keys`, `graph`, `weights`, `campaigns`, `drift`, `phases`) beside the steps that
apply them to the database in small transactions (`gather`, `place`, `review`, `reuse`,
`attribution`, `campaign_steps`).
"""
