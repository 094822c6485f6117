"""Drafts of fleet files: from a look at a project, or from another manager's file.

Nothing of the project is imported or run: Python is read as text (`ast`), and so are the files.
"""
