// Loaded before the Kinesis engine, which would listen on every address of the machine: listens
// on the address in LISTEN instead.
const net = require('node:net');
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (...args) {
  const at = args.findIndex((arg) => arg !== null && typeof arg === 'object');
  if (at >= 0 && 'port' in args[at]) {
    args[at] = { ...args[at], host: process.env.LISTEN };
  } else if (typeof args[0] === 'number') {
    if (typeof args[1] === 'string') args[1] = process.env.LISTEN;
    else args.splice(1, 0, process.env.LISTEN);
  }
  return listen.apply(this, args);
};
