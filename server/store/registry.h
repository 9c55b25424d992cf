// Which server makes which video, where several servers share a store.
#ifndef LONGTAKE_SERVER_STORE_REGISTRY_H_
#define LONGTAKE_SERVER_STORE_REGISTRY_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/store/tenant_counters.h"

namespace spdlog {
class logger;
}

namespace longtake::server {

// A server holds a lease, which it renews as long as it works, and owns the videos that it makes. When its lease has
// ended others take its videos, with larger tokens for their writing (Store::Fence). Thread-safe; calls wait for the
// registry, a second at most. Errors are Unavailable and name it.
class Registry {
 public:
  // A server's ports, as others reach them.
  struct Owner {
    std::string address, http_address;  // of gRPC; of HTTP, empty where there is none
    bool self = false;                  // it is this one
    std::string tenant;                 // whose the video is
  };
  // In which state a server leaves a video.
  enum class Left {
    kUnfinished,  // the next server goes on with it
    kEnded,       // nobody does
    // It has ended, and not all of it is in the store. The server stays its owner for as long as it works; then the
    // next one goes on with what is stored.
    kEndedUnstored,
  };

  virtual ~Registry() = default;  // gives the lease back: others take what is left of this server's videos at once

  // The video that this request id of the tenant's asks for: `video` from now on, or the one that it asked for before.
  // `video` was taken before, so that whoever finds the id knows whether somebody still works on it.
  virtual absl::StatusOr<std::string> ClaimRequest(const std::string& tenant, const std::string& request_id,
                                                   const std::string& video) = 0;
  // The same without claiming it; empty: it has asked for nothing.
  virtual absl::StatusOr<std::string> FindRequest(const std::string& tenant, const std::string& request_id) = 0;
  // This video of its is refused, or gone. Another one's claim stays.
  virtual void ForgetRequest(const std::string& tenant, const std::string& request_id, const std::string& video) = 0;

  // Makes this server the owner. Returns the token of its writes, larger than all that were given out before. Without a
  // tenant the video stays the one's whose it was. FailedPrecondition: a server that works owns the video.
  virtual absl::StatusOr<uint64_t> Take(const std::string& video, const std::optional<std::string>& tenant) = 0;
  // Gives up a video that was taken with this token, if it is this server's still. Where the registry is away it is
  // told later.
  virtual void Release(const std::string& video, uint64_t token, Left left) = 0;
  // Whether the tenant's video that was taken with this token is still this server's. One that nobody has taken since
  // is again, also where the registry has forgotten everything, and is counted as being made.
  virtual absl::StatusOr<bool> Keep(const std::string& tenant, const std::string& video, uint64_t token) = 0;
  // Nothing: no server that works.
  virtual absl::StatusOr<std::optional<Owner>> OwnerOf(const std::string& video) = 0;

  // An unfinished video was found in the store. Does nothing if it is known.
  virtual void AddUnfinished(const std::string& video) = 0;
  // Unfinished videos of which no server that works is the owner.
  virtual absl::StatusOr<std::vector<std::string>> Orphans() = 0;

  // A video was accepted; it is gone. Errors go to the log: the video is missing in lists, or is one that is not there.
  virtual void AddVideo(const std::string& tenant, const std::string& video, absl::Time create_time) = 0;
  virtual void RemoveVideo(const std::string& tenant, const std::string& video) = 0;
  struct Listed {
    std::string video;
    absl::Time create_time;
  };
  // So many of the tenant's, of all servers, the newest first: those behind `behind` in this order, or the first ones.
  virtual absl::StatusOr<std::vector<Listed>> ListVideos(const std::string& tenant, const std::optional<Listed>& behind,
                                                         int count) = 0;

  virtual TenantCounters& counters() = 0;

  // Whether this server is the one that does what one does for all: the first that has asked, as long as it works.
  virtual absl::StatusOr<bool> Leads() = 0;

  // How often this server's lease had ended before it was renewed: since the last time others may have taken its
  // videos.
  virtual uint64_t lapses() const = 0;
  // Whether another server works.
  virtual bool has_others() = 0;
};

struct RegistryOptions {
  std::string url;            // "redis://host:port"
  std::string password_file;  // its first line is the password; empty: none is sent
  std::string address;        // of this server's gRPC port, as others reach it
  std::string http_address;   // and of its HTTP port; empty: it has none
  absl::Duration lease = absl::Seconds(5);
};

// InvalidArgument: the URL is none. Unavailable: Redis does not answer, or refuses. `logger` outlives it.
absl::StatusOr<std::unique_ptr<Registry>> OpenRedisRegistry(const RegistryOptions& options, spdlog::logger* logger);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_STORE_REGISTRY_H_
