#include "server/grpc/door.h"

#include <grpc/grpc_security_constants.h>

#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "common/status_macros.h"
#include "server/grpc/call_context.h"
#include "server/video/error.h"

namespace longtake::server {
namespace {

absl::string_view View(const grpc::string_ref& text) { return {text.data(), text.size()}; }

}  // namespace

absl::StatusOr<Identity> Door::IdentityOf(const grpc::CallbackServerContext& context) const {
  if (authenticator_->open()) return Identity{};
  const auto [first, last] = context.client_metadata().equal_range("authorization");
  if (first != last && std::next(first) != last) {
    return MakeError(absl::StatusCode::kUnauthenticated, "authorization: is there more than once",
                     {.reason = Reason::kUnauthenticated});
  }
  Credentials credentials;
  if (first != last) credentials.authorization = View(first->second);
  const std::shared_ptr<const grpc::AuthContext> peer = context.auth_context();
  std::vector<grpc::string_ref> certificates;
  if (peer != nullptr && peer->IsPeerAuthenticated()) {
    certificates = peer->FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME);
  }
  if (!certificates.empty()) credentials.certificate = View(certificates.front());
  return authenticator_->Identify(credentials);
}

absl::StatusOr<Identity> Door::Identify(grpc::CallbackServerContext& context) const {
  CallRecord* const record = BeginCall(&context);
  ASSIGN_OR_RETURN(Identity identity, IdentityOf(context));
  if (record != nullptr) record->tenant = identity.tenant.id;
  RETURN_IF_ERROR(quotas_->OnCall(identity.tenant));
  return identity;
}

absl::StatusOr<Visit> Door::EnterToWatch(grpc::CallbackServerContext& context) const {
  ASSIGN_OR_RETURN(Visit visit, Enter(context));
  ASSIGN_OR_RETURN(visit.watch, quotas_->OpenWatch(visit.tenant));
  return visit;
}

absl::StatusOr<Visit> Door::Enter(grpc::CallbackServerContext& context) const {
  ASSIGN_OR_RETURN(Identity identity, Identify(context));
  ASSIGN_OR_RETURN(std::shared_ptr<Studio> studio, slot_->Get());
  const CallRecord* const record = RecordOf(&context);
  return Visit{.tenant = std::move(identity.tenant),
               .origin = record == nullptr ? CallOrigin() : record->origin,
               .studio = std::move(studio),
               .watch = nullptr};
}

}  // namespace longtake::server
