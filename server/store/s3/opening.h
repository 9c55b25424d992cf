// What is done once when a store in S3 is opened.
#ifndef LONGTAKE_SERVER_STORE_S3_OPENING_H_
#define LONGTAKE_SERVER_STORE_S3_OPENING_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/store/s3/client.h"
#include "server/store/store.h"

namespace longtake::server {

// Tries whether the service keeps conditions, with an object of its own. FailedPrecondition: it does not.
absl::Status CheckConditions(const S3Client& client);
// Returns the epoch of who opens the store now: a new one where it is not shared, or was not before.
absl::StatusOr<uint64_t> TakeEpoch(const S3Client& client, Sharing sharing);
// Removes the objects of folders that are no longer there: of a removal that came to no end, or written behind one.
// Other servers may use the store meanwhile. This one must not make folders without Fence.
absl::Status SweepObjects(const S3Client& client);

// All objects that begin so.
absl::Status RemoveObjects(const S3Client& client, const std::string& begin);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_STORE_S3_OPENING_H_
