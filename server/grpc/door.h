// What every call passes first: who is asking, and which call this is. A service reaches the studio through here alone,
// so that no method can be written that forgets it.
#ifndef LONGTAKE_SERVER_GRPC_DOOR_H_
#define LONGTAKE_SERVER_GRPC_DOOR_H_

#include <grpcpp/grpcpp.h>

#include <memory>

#include "absl/status/statusor.h"
#include "server/access/access.h"
#include "server/access/known_servers.h"
#include "server/telemetry/origin.h"
#include "server/video/studio_slot.h"

namespace longtake::server {

// A call that may go on.
struct Visit {
  Tenant tenant;
  CallOrigin origin = {};
  std::shared_ptr<Studio> studio;
  std::shared_ptr<void> watch;  // of a streaming call: counts as one of the tenant's until it is let go
};

class Door {
 public:
  // All outlive it.
  // `servers`: whose word counts about who is calling; null: nobody's.
  Door(const Authenticator* authenticator, const KnownServers* servers, Quotas* quotas, StudioSlot* slot)
      : authenticator_(authenticator), servers_(servers), quotas_(quotas), slot_(slot) {}

  // Each of the three gives the call its id, which it answers.
  // UNAUTHENTICATED; for a caller who is known QUOTA_EXCEEDED, and MODEL_LOADING before there is a studio.
  absl::StatusOr<Visit> Enter(grpc::CallbackServerContext& context) const;
  // The same of a call that watches a video.
  absl::StatusOr<Visit> EnterToWatch(grpc::CallbackServerContext& context) const;
  // The same without a studio.
  absl::StatusOr<Identity> Identify(grpc::CallbackServerContext& context) const;

  // As StudioSlot's.
  void AddCall() const { slot_->AddCall(); }
  void RemoveCall() const { slot_->RemoveCall(); }

 private:
  // A server that has verified its caller passes this call on.
  bool FromServer(const grpc::CallbackServerContext& context) const;
  absl::StatusOr<Identity> IdentityOf(const grpc::CallbackServerContext& context, bool from_server) const;

  const Authenticator* const authenticator_;
  const KnownServers* const servers_;
  Quotas* const quotas_;
  StudioSlot* const slot_;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_GRPC_DOOR_H_
