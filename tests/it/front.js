// TLS servers in front of the local Bitbucket. They use OpenSSL, with the certificates, versions and ciphers that the test
// names. With "clients", a server requests a client certificate after it has read the first bytes of a request, as Apache
// does for a <Location>. The servers end with the standard input.
'use strict';
const fs = require('fs');
const net = require('net');
const tls = require('tls');

const start = (told) => new Promise((started) => {
  const inside = { host: '127.0.0.1', port: told.port, servername: 'localhost', ca: fs.readFileSync(told.trusts) };

  const server = tls.createServer({
    cert: fs.readFileSync(told.cert),
    key: fs.readFileSync(told.key),
    ca: told.clients && fs.readFileSync(told.clients),
    ciphers: told.ciphers || 'DEFAULT:@SECLEVEL=0',
    minVersion: 'TLSv1',
    maxVersion: told.maxVersion || 'TLSv1.3',
    ALPNProtocols: [told.alpn],
  }, (outer) => {
    const inner = told.proxy
      ? net.connect(told.proxy, '127.0.0.1')
      : tls.connect({ ...inside, ALPNProtocols: [told.alpn] });
    const end = () => { outer.destroy(); inner.destroy(); };
    for (const socket of [outer, inner]) socket.on('error', end).on('close', end);
    const join = () => outer.pipe(inner).pipe(outer);
    if (!told.clients) return join();
    outer.once('data', (first) => {
      outer.pause();
      outer.renegotiate({ requestCert: true, rejectUnauthorized: true }, (error) => {
        if (error || !outer.getPeerCertificate().subject) return end();
        inner.write(first);
        join();
      });
    });
  });
  server.on('tlsClientError', () => {});
  server.listen(0, '127.0.0.1', () => started(server.address().port));
});

Promise.all(JSON.parse(process.argv[2]).map(start)).then((ports) => console.log(JSON.stringify(ports)));
process.stdin.on('end', () => process.exit()).resume();
