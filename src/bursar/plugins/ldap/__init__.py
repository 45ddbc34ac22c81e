"""The `ldap` plugin: people as posixAccount, projects as posixGroup, in an LDAP directory."""
