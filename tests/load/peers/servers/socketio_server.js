// Socket.IO 4: one room, `io.to(room).emit`; POST /pub on the same port.
const http = require('http');
const { Server } = require('socket.io');

const server = http.createServer((request, response) => {
  if (!request.url.startsWith('/pub')) return;
  let text = '';
  request.on('data', (part) => { text += part; });
  request.on('end', () => {
    io.to('room').emit('message', text);
    response.end('ok');
  });
});
const io = new Server(server, { transports: ['websocket'], perMessageDeflate: false });
io.on('connection', (member) => { member.join('room'); });
server.listen(Number(process.argv[2]), '127.0.0.1', 4096);
