#include "server/listen/peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace longtake::server {
namespace {

constexpr size_t kNetworkBytes = 8;

std::string TextOf(int family, const void* address) {
  char text[INET6_ADDRSTRLEN] = {};
  return inet_ntop(family, address, text, sizeof(text)) == nullptr ? "" : text;
}

Peer PeerV4(const in_addr& address, in_port_t port) {
  const std::string text = TextOf(AF_INET, &address);
  return {.name = absl::StrCat("ipv4:", text, ":", ntohs(port)), .address = text};
}

}  // namespace

Peer PeerOf(int descriptor) {
  sockaddr_storage storage = {};
  socklen_t size = sizeof(storage);
  if (getpeername(descriptor, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return {};
  if (storage.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(storage);
    return PeerV4(v4.sin_addr, v4.sin_port);
  }
  if (storage.ss_family != AF_INET6) return {};
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(storage);
  if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
    in_addr v4 = {};
    std::copy_n(v6.sin6_addr.s6_addr + 12, sizeof(v4), reinterpret_cast<uint8_t*>(&v4));
    return PeerV4(v4, v6.sin6_port);
  }
  in6_addr network = v6.sin6_addr;
  std::fill(network.s6_addr + kNetworkBytes, network.s6_addr + sizeof(network.s6_addr), uint8_t{0});
  return {.name = absl::StrCat("ipv6:[", TextOf(AF_INET6, &v6.sin6_addr), "]:", ntohs(v6.sin6_port)),
          .address = TextOf(AF_INET6, &network)};
}

std::string PeerNameOf(const std::string& grpc_peer) {
  std::string name = absl::StrReplaceAll(grpc_peer, {{"%5B", "["}, {"%5D", "]"}, {"%25", "%"}});
  // The network interface of a link-local address.
  const size_t scope = name.find('%'), end = name.find(']');
  if (scope != std::string::npos && end != std::string::npos && scope < end) name.erase(scope, end - scope);
  return name;
}

}  // namespace longtake::server
