// Where videos outlive a server.
#ifndef LONGTAKE_SERVER_STORE_STORAGE_H_
#define LONGTAKE_SERVER_STORE_STORAGE_H_

#include "server/store/registry.h"
#include "server/store/store.h"

namespace longtake::server {

// Both outlive whoever uses them.
struct Storage {
  Store* store = nullptr;        // null: nothing outlives the process
  Registry* registry = nullptr;  // null: no other server uses the store
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_STORE_STORAGE_H_
