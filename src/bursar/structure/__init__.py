"""People, organizations, projects, workspaces, roles, invitations, tokens."""
