#include "server/grpc/door.h"

#include <grpc/grpc_security_constants.h>

#include <iterator>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/status_macros.h"
#include "server/grpc/call_context.h"
#include "server/grpc/peers.h"
#include "server/video/error.h"

namespace longtake::server {
namespace {

absl::Status Unauthenticated(const std::string& why) {
  return MakeError(absl::StatusCode::kUnauthenticated, why, {.reason = Reason::kUnauthenticated});
}

// Of the call's metadata; nothing: there is none of this key. UNAUTHENTICATED: there are several.
absl::StatusOr<std::optional<absl::string_view>> OnlyValue(const grpc::CallbackServerContext& context,
                                                           const char* key) {
  const auto [first, last] = context.client_metadata().equal_range(key);
  if (first == last) return std::nullopt;
  if (std::next(first) != last) return Unauthenticated(absl::StrCat(key, ": is there more than once"));
  return absl::string_view(first->second.data(), first->second.size());
}

// Of the certificate that TLS has verified; empty: there is none.
std::string PeerProperty(const grpc::CallbackServerContext& context, const char* property) {
  const std::shared_ptr<const grpc::AuthContext> peer = context.auth_context();
  if (peer == nullptr || !peer->IsPeerAuthenticated()) return "";
  const std::vector<grpc::string_ref> values = peer->FindPropertyValues(property);
  return values.empty() ? "" : std::string(values.front().data(), values.front().size());
}

}  // namespace

bool Door::FromServer(const grpc::CallbackServerContext& context) const {
  // Only marked calls, or each call of a client with a certificate would cost a verification.
  if (servers_ == nullptr || context.client_metadata().count(kPassedOnKey) == 0) return false;
  return servers_->Has(PeerProperty(context, GRPC_X509_PEM_CERT_PROPERTY_NAME),
                       PeerProperty(context, GRPC_X509_PEM_CERT_CHAIN_PROPERTY_NAME));
}

absl::StatusOr<Identity> Door::IdentityOf(const grpc::CallbackServerContext& context, bool from_server) const {
  if (authenticator_->open()) return Identity{};
  ASSIGN_OR_RETURN(const std::optional<absl::string_view> named, OnlyValue(context, kCallerKey));
  if (named.has_value()) {
    // Refused and not ignored: the certificate behind such a call is the other server's, and not the caller's.
    if (!from_server) return Unauthenticated(absl::StrCat(kCallerKey, ": is for servers that know each other"));
    return DecodeCaller(*named);
  }
  ASSIGN_OR_RETURN(const std::optional<absl::string_view> authorization, OnlyValue(context, "authorization"));
  // A server calls for others alone, so its own certificate makes it no tenant's caller.
  const std::string certificate = from_server ? "" : PeerProperty(context, GRPC_X509_PEM_CERT_PROPERTY_NAME);
  return authenticator_->Identify({.authorization = authorization.value_or(""), .certificate = certificate});
}

absl::StatusOr<Identity> Door::Identify(grpc::CallbackServerContext& context) const {
  BeginCall(&context);
  const bool from_server = FromServer(context);
  ASSIGN_OR_RETURN(Identity identity, IdentityOf(context, from_server));
  SetCaller(&context, identity);
  // What a server passes on was counted there.
  if (!from_server) RETURN_IF_ERROR(quotas_->OnCall(identity.tenant));
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
