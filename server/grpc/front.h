// The gRPC port: its connections, its services and its health. The header of this room that server.cc includes.
#ifndef LONGTAKE_SERVER_GRPC_FRONT_H_
#define LONGTAKE_SERVER_GRPC_FRONT_H_

#include <grpcpp/grpcpp.h>

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/access/access.h"
#include "server/access/known_servers.h"
#include "server/access/viewing_links.h"
#include "server/grpc/connections.h"
#include "server/grpc/door.h"
#include "server/grpc/front_options.h"
#include "server/grpc/model_service.h"
#include "server/grpc/peers.h"
#include "server/grpc/reflection_service.h"
#include "server/grpc/video_service.h"
#include "server/listen/acceptor.h"
#include "server/listen/connection_table.h"
#include "server/telemetry/metrics.h"
#include "server/video/studio_slot.h"
#include "spdlog/logger.h"

namespace longtake::server {

class CallLog;

class Front {
 public:
  // Takes the port, and answers nobody yet. All pointers outlive it. `servers`: null where no server has a name.
  static absl::StatusOr<std::unique_ptr<Front>> Listen(const FrontOptions& options, const Authenticator* authenticator,
                                                       const KnownServers* servers, const ViewingLinks* links,
                                                       Quotas* quotas, Metrics* metrics, const CallLog* calls,
                                                       ConnectionTable* table, spdlog::logger* logger);
  ~Front();  // behind Close

  // Answers from now on. Once.
  absl::Status Accept();
  // What the health service says of this name.
  void SetServing(const char* name, bool serving);
  // Cuts what is under way, and waits until nothing of it is left.
  void Close();

  // Empty at first: then calls are refused as MODEL_LOADING.
  StudioSlot& studio() { return studio_; }
  int port() const { return acceptor_->port(); }

 private:
  Front(const Authenticator* authenticator, const KnownServers* servers, const ViewingLinks* links, Quotas* quotas,
        Metrics* metrics, std::unique_ptr<Peers> peers)
      : door_(authenticator, servers, quotas, &studio_),
        peers_(std::move(peers)),
        videos_(&door_, links, peers_.get(), metrics),
        models_(&door_),
        reflection_(&door_) {}
  void Build(const FrontOptions& options, const std::shared_ptr<grpc::ServerCredentials>& credentials,
             const CallLog* calls);

  StudioSlot studio_;
  const Door door_;
  const std::unique_ptr<Peers> peers_;
  VideoService videos_;
  ModelService models_;
  ReflectionService reflection_;
  std::unique_ptr<Acceptor> acceptor_;
  std::unique_ptr<Connections> connections_;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> entrance_;
  std::unique_ptr<grpc::Server> grpc_;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_GRPC_FRONT_H_
