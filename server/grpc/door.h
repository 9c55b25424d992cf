// What every call passes first: who is asking. A service reaches the studio through here alone, so that no method can
// be written that forgets it.
#ifndef LONGTAKE_SERVER_GRPC_DOOR_H_
#define LONGTAKE_SERVER_GRPC_DOOR_H_

#include <grpcpp/grpcpp.h>

#include <memory>

#include "absl/status/statusor.h"
#include "server/access/access.h"
#include "server/grpc/studio_slot.h"

namespace longtake::server {

// A call that may go on.
struct Visit {
  Tenant tenant;
  std::shared_ptr<Studio> studio;
};

class Door {
 public:
  // Both outlive it.
  Door(const Authenticator* authenticator, StudioSlot* slot) : authenticator_(authenticator), slot_(slot) {}

  // UNAUTHENTICATED; for a caller who is known MODEL_LOADING before there is a studio.
  absl::StatusOr<Visit> Enter(const grpc::CallbackServerContext& context) const;
  // The same without a studio.
  absl::StatusOr<Identity> Identify(const grpc::CallbackServerContext& context) const;

  // As StudioSlot's.
  void AddCall() const { slot_->AddCall(); }
  void RemoveCall() const { slot_->RemoveCall(); }

 private:
  const Authenticator* const authenticator_;
  StudioSlot* const slot_;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_GRPC_DOOR_H_
