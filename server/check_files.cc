#include "server/check_files.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/status_macros.h"
#include "server/access/access.h"
#include "server/access/viewing_links.h"
#include "server/access/watched_file.h"
#include "server/grpc/tls.h"
#include "server/listen/address.h"
#include "server/open_store.h"
#include "server/policy/policy_gate.h"
#include "server/store/redis.h"
#include "server/telemetry/metrics.h"
#include "spdlog/logger.h"

namespace longtake::server {
namespace {

namespace fs = std::filesystem;

// Empty: this process may do that with the path.
std::string Denied(const fs::path& path, int mode) {
  return access(path.c_str(), mode) == 0 ? "" : absl::StrCat(path.string(), ": ", std::strerror(errno));
}

// Of the model only that it is one: the engine reads the whole folder, which takes seconds to minutes, and names what
// is wrong in it.
std::string CheckModel(const fs::path& folder) {
  std::error_code ignored;
  if (!fs::is_directory(folder, ignored)) return absl::StrCat(folder.string(), ": there is no such folder");
  const fs::path transformer = folder / "transformer" / "config.json";
  if (!fs::exists(transformer, ignored)) {
    return absl::StrCat(folder.string(), ": is no model's folder: it has no transformer/config.json");
  }
  return Denied(transformer, R_OK);
}

// Of a folder that may be absent from the options: that it is there, and that this process may do that with it.
std::string CheckFolder(const fs::path& folder, int mode) {
  std::error_code ignored;
  if (folder.empty()) return "";
  return fs::is_directory(folder, ignored) ? Denied(folder, mode)
                                           : absl::StrCat(folder.string(), ": there is no such folder");
}

// Whether it is free shows when it is taken.
absl::Status CheckAddress(const std::string& address) {
  std::string host, port;
  return absl::StartsWith(address, "unix:") || SplitAddress(address, host, port) ? absl::OkStatus() : NoAddress();
}

// Whether Redis answers shows when the server starts.
absl::Status CheckSharing(const ServerOptions& server) {
  if (server.registry.empty()) return absl::OkStatus();
  if (server.store.empty()) return absl::InvalidArgumentError("is for servers that share a store, and there is none");
  RETURN_IF_ERROR(ParseRedisUrl(server.registry).status());
  if (server.registry_password_file.empty()) return absl::OkStatus();
  return ReadFile(server.registry_password_file).status();
}

}  // namespace

std::vector<std::string> CheckFiles(const EngineOptions& engine, const ServerOptions& server) {
  std::vector<std::string> wrong;
  const auto add = [&wrong](const char* option, const std::string& what) {
    if (!what.empty()) wrong.push_back(absl::StrCat(option, ": ", what));
  };
  const auto add_status = [&wrong](const char* option, const absl::Status& status) {
    if (!status.ok()) wrong.push_back(absl::StrCat(option, status.message()));
  };
  add("model", CheckModel(engine.model_dir));
  add("adapters", CheckFolder(engine.adapters_dir, R_OK | X_OK));
  // The engine goes on without a cache that it cannot write; who asks for one wants to know.
  add("weight-cache", CheckFolder(engine.weight_cache_dir, R_OK | W_OK | X_OK));
  add_status("", CheckStore(server));
  add_status("registry: ", CheckSharing(server));
  for (const auto& [option, address] : {std::pair{"listen: ", &server.listen},
                                        {"metrics-listen: ", &server.metrics_listen},
                                        {"http-listen: ", &server.http_listen}}) {
    if (!address->empty()) add_status(option, CheckAddress(*address));
  }

  // What opens these says nothing when it only reads them once.
  spdlog::logger silent("check");
  const MonotonicClock clock;
  Metrics metrics;
  AccessOptions tokens, jwt;
  tokens.tokens = server.access.tokens;
  jwt.jwt = server.access.jwt;
  add_status("tokens: ", Authenticator::Open(tokens, &clock, &silent).status());
  // The file's own errors name the file; the others name their option.
  const absl::Status keys = Authenticator::Open(jwt, &clock, &silent).status();
  add_status(absl::StartsWith(keys.message(), jwt.jwt.keys) ? "jwks: " : "", keys);
  add_status("quotas: ", Quotas::Open(server.quotas, server.studio.max_waiting, &clock, &metrics, &silent).status());
  // These name the option or the file themselves.
  const bool asks_callers =
      !server.access.tokens.empty() || !server.access.jwt.keys.empty() || !server.tls.client_authorities.empty();
  add_status("", ViewingLinks::Open(server.links, asks_callers, &clock, &silent).status());
  add_status("", PolicyGate::Open(server.policy, &clock, &metrics, &silent).status());
  add_status("", CheckTls(server.tls));  // the same
  add_status("", CheckPeers({.authorities = server.peer_ca, .name = server.peer_name}, server.tls));
  return wrong;
}

}  // namespace longtake::server
