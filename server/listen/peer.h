// Who is at the other end of a connection.
#ifndef LONGTAKE_SERVER_LISTEN_PEER_H_
#define LONGTAKE_SERVER_LISTEN_PEER_H_

#include <string>

namespace longtake::server {

struct Peer {
  // "ipv4:1.2.3.4:80", "ipv6:[2001:db8::1]:80", of an IPv4 address within IPv6 the former; empty: it has none, as with
  // unix:.
  std::string name;
  // Whose limit a connection counts for: the address without the port, of IPv6 its first 64 bits, which one customer of
  // a network has for himself. Empty as above.
  std::string address;
};

// Of a connected socket.
Peer PeerOf(int descriptor);

// The same form of the name that gRPC gives a peer.
std::string PeerNameOf(const std::string& grpc_peer);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_LISTEN_PEER_H_
