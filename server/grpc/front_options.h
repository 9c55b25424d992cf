// What an operator may say about the gRPC port.
#ifndef LONGTAKE_SERVER_GRPC_FRONT_OPTIONS_H_
#define LONGTAKE_SERVER_GRPC_FRONT_OPTIONS_H_

#include <string>

#include "absl/time/time.h"

namespace longtake::server {

// HTTP/2 pings, which find out whether a silent peer is still there.
struct KeepaliveOptions {
  // A client from which nothing has come for `interval` is pinged, and given up where no answer comes for `timeout`
  // more: one that has vanished is noticed within their sum. The timeout is longer than a mobile network's usual gap.
  absl::Duration interval = absl::Seconds(15);
  absl::Duration timeout = absl::Seconds(20);
  // Clients may ping so often, with and without calls; who does so more often is disconnected (GOAWAY too_many_pings).
  // Half of the 10 s that client libraries have as their shortest interval, since pings that a network delays arrive
  // closer together than they were sent.
  absl::Duration min_client_interval = absl::Seconds(5);
};

// Files in PEM.
struct TlsOptions {
  std::string certificate, key;  // the server's, with the chain behind it; empty: connections are plain text
  // Authorities whose certificates identify clients; empty: clients are not asked for one. A client without one is let
  // in and refused by each call that needs an identity, because a health probe has none.
  std::string client_authorities;
  // The files are looked at so often. Where a certificate and its key are exchanged one after the other, new
  // connections may fail for so long.
  absl::Duration reload = absl::Seconds(1);
};

// How other servers are reached to which calls are passed on.
struct PeerOptions {
  std::string authorities = {};  // that have signed their certificates, PEM; empty: connections are plain text
  // A DNS name that their certificates have and no client's has: a caller with it is a server, and may say on whose
  // behalf it calls. Empty: no server may.
  std::string name = {};
};

struct FrontOptions {
  std::string listen;
  KeepaliveOptions keepalive = {};
  TlsOptions tls = {};
  PeerOptions peers = {};
  bool reflection = true;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_GRPC_FRONT_OPTIONS_H_
