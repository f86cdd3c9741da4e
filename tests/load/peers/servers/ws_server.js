// npm ws, the loop of its own documentation: WebSockets and POST /pub on one port.
const http = require('http');
const { WebSocketServer } = require('ws');

const room = new WebSocketServer({ noServer: true, perMessageDeflate: false });
const server = http.createServer((request, response) => {
  let text = '';
  request.on('data', (part) => { text += part; });
  request.on('end', () => {
    for (const member of room.clients) member.send(text);
    response.end('ok');
  });
});
server.on('upgrade', (request, socket, head) => {
  room.handleUpgrade(request, socket, head, (member) => room.emit('connection', member, request));
});
server.listen(Number(process.argv[2]), '127.0.0.1', 4096);
