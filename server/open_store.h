// The store that the server's options name.
#ifndef LONGTAKE_SERVER_OPEN_STORE_H_
#define LONGTAKE_SERVER_OPEN_STORE_H_

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/server.h"
#include "server/store/store.h"

namespace longtake::server {

// `options`: with a store. Errors are those of OpenDirectoryStore and OpenS3Store. `logger` outlives it.
absl::StatusOr<std::unique_ptr<Store>> OpenStore(const ServerOptions& options, Sharing sharing, spdlog::logger* logger);
// What is wrong with these options, as far as it can be seen without opening the store. It changes nothing. The message
// begins with the option's name.
absl::Status CheckStore(const ServerOptions& options);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_OPEN_STORE_H_
