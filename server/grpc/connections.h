// The gRPC port's connections, which are idle where no call is under way. gRPC tells nobody when one ends.
#ifndef LONGTAKE_SERVER_GRPC_CONNECTIONS_H_
#define LONGTAKE_SERVER_GRPC_CONNECTIONS_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "common/mutex.h"
#include "server/listen/connection_table.h"

namespace longtake::server {

// Thread-safe. A connection has a second descriptor here, by which its end is seen and an idle one is ended.
class Connections {
 public:
  // Unavailable: a descriptor or a thread is missing. `table` outlives it.
  static absl::StatusOr<std::unique_ptr<Connections>> Start(ConnectionTable* table);
  ~Connections();
  Connections(const Connections&) = delete;
  Connections& operator=(const Connections&) = delete;

  // Gives the accepted socket to `serve`, which owns it from then on, or closes it where no more may be open. False: it
  // is closed, for there is no descriptor left.
  bool Add(int descriptor, const std::function<void(int)>& serve);
  // A call of this peer, by gRPC's name for it, has begun; it lasts until what is returned is let go, which may outlive
  // this. Null: its connection has ended.
  std::shared_ptr<void> BeginCall(const std::string& grpc_peer);

 private:
  struct Open;

  explicit Connections(ConnectionTable* table) : table_(table) {}
  void Loop();

  ConnectionTable* const table_;
  int epoll_ = -1;
  int wake_ = -1;  // an eventfd that ends the loop
  Mutex mutex_;
  std::map<int, std::shared_ptr<Open>> open_ ABSL_GUARDED_BY(mutex_);           // by their descriptors here
  std::map<std::string, std::weak_ptr<Open>> by_peer_ ABSL_GUARDED_BY(mutex_);  // by Peer::name
  std::thread thread_;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_GRPC_CONNECTIONS_H_
