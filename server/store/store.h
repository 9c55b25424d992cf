// Files that outlive the process: what is finished of a video, and what is needed to go on with one.
#ifndef LONGTAKE_SERVER_STORE_STORE_H_
#define LONGTAKE_SERVER_STORE_STORE_H_

#include <cstdint>
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
// is none, Aborted where another server may write the folder now, DataLoss where the store itself is damaged, else
// Unavailable; the message has the file's path and the system's or the service's word.
//
// Where several servers share a store, each folder of files has one writer at a time. The writer has a token, which a
// Registry gives out, and what it writes with that token succeeds until Fence names a larger one. This holds for a
// server that was stopped for minutes in the middle of a write too: the file does not appear once the other one has
// begun (a lease cannot promise that, for it ends by a clock; M. Kleppmann, "How to do distributed locking", 2016).
class Store {
 public:
  using Done = std::function<void(const absl::Status&)>;

  virtual ~Store() = default;  // waits for what was asked of it

  // Makes whoever has this token the only writer of the folder, which is made where it does not exist. Aborted: a
  // larger token was there before.
  virtual void Fence(const std::string& folder, uint64_t token, Done done) = 0;
  // Writes the files in this order, in place of older ones of their names. Each is there whole or not at all, whenever
  // the process or the machine ends. `done` comes on a thread of the store, once they would survive a power cut. Calls
  // about one folder, or about a file in it, are carried out and told in their order. `token`: of the writer of the one
  // folder in which all of them are; 0: no other server uses the store.
  virtual void Put(std::vector<StoredFile> files, uint64_t token, Done done) = 0;
  // Removes the file, or the folder with all that is in it, behind what was put before. What is not there is no error.
  // `token`: of the writer of the folder of this file; 0: whoever writes it.
  virtual void Remove(const std::string& name, uint64_t token, Done done) = 0;

  // Waits until everything that was asked is done, and told.
  virtual void AwaitIdle() = 0;

  // The file's bytes; NotFound.
  virtual absl::StatusOr<std::string> Get(const std::string& name) const = 0;
  // The names of what lies in the folder, sorted, without the folder's. None where there is no such folder.
  virtual absl::StatusOr<std::vector<std::string>> List(const std::string& folder) const = 0;
};

enum class Sharing {
  kAlone,   // no other process may use the store meanwhile
  kShared,  // others may that say so too; all writing is fenced
};

// A store in a directory, which is made where it does not exist; only this user can read it. FailedPrecondition:
// another process uses it, and one of the two alone. Unavailable: it cannot be written.
absl::StatusOr<std::unique_ptr<Store>> OpenDirectoryStore(const std::string& directory, Sharing sharing);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_STORE_STORE_H_
