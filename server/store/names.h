// Names of files and folders in a store.
#ifndef LONGTAKE_SERVER_STORE_NAMES_H_
#define LONGTAKE_SERVER_STORE_NAMES_H_

#include <string>

#include "absl/status/status.h"

namespace longtake::server {

// InvalidArgument: it is no path without "." and "..", of letters, digits, '.', '_' and '-'.
absl::Status CheckName(const std::string& name);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_STORE_NAMES_H_
