"""What the page keeps on disk: the project, each photo's journal and session, the masks."""
