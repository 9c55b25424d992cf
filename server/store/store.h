// Files that outlive the process: what is finished of a video, and what is needed to go on with one.
#ifndef LONGTAKE_SERVER_STORE_STORE_H_
#define LONGTAKE_SERVER_STORE_STORE_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace longtake::server {

// Names are paths without "." and "..", of letters, digits, '.', '_' and '-': "videos/1f/init.mp4".
struct StoredFile {
  std::string name, bytes;
};

// Thread-safe. Errors: ResourceExhausted where space or file descriptors have run out, InvalidArgument of a name that
// is none, else Unavailable; the message has the file's path and the system's word.
class Store {
 public:
  using Done = std::function<void(const absl::Status&)>;

  virtual ~Store() = default;  // waits for what was asked of it

  // Writes the files in this order, in place of older ones of their names. Each is there whole or not at all, whenever
  // the process or the machine ends. `done` comes on the store's thread, once they would survive a power cut. Calls are
  // carried out in their order.
  virtual void Put(std::vector<StoredFile> files, Done done) = 0;
  // Removes the file, or the folder with all that is in it, behind what was put before. What is not there is no error.
  virtual void Remove(const std::string& name, Done done) = 0;

  // Waits until everything that was asked is done, and told.
  virtual void AwaitIdle() = 0;

  // The file's bytes; NotFound.
  virtual absl::StatusOr<std::string> Get(const std::string& name) const = 0;
  // The names of what lies in the folder, sorted, without the folder's. None where there is no such folder.
  virtual absl::StatusOr<std::vector<std::string>> List(const std::string& folder) const = 0;
};

// A store in a local directory, which is made where it does not exist; only this user can read it. FailedPrecondition:
// another process uses it. Unavailable: it cannot be written.
absl::StatusOr<std::unique_ptr<Store>> OpenDirectoryStore(const std::string& directory);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_STORE_STORE_H_
