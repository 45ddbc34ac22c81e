// An OpenID Connect provider for tests: authorization code with PKCE, real keys, real discovery. Any password is right.
// PORT: 0 takes a free one; the issuer is printed as the only line. USERS: {login: claims}. CLIENTS: a list, as the library has it.
import http from 'node:http';
import Provider from 'oidc-provider';

const users = JSON.parse(process.env.USERS);
const server = http.createServer();
server.listen(Number(process.env.PORT ?? 0), '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: JSON.parse(process.env.CLIENTS),
    pkce: { required: () => true },
    claims: { openid: ['sub'], profile: ['name', 'given_name', 'family_name'], email: ['email', 'email_verified'] },
    scopes: ['openid', 'profile', 'email'],
    conformIdTokenClaims: false, // the claims stand in the signed token too
    cookies: { keys: ['only for tests'] },
    features: { devInteractions: { enabled: true } },
    findAccount: (_context, login) =>
      users[login] && { accountId: login, claims: () => ({ sub: login, ...users[login] }) },
  });
  server.on('request', provider.callback());
  console.log(issuer);
});
