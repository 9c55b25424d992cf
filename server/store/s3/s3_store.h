// A store in S3: the same promises as of a directory, without rename and without locks.
//
// Below the prefix of the store are
//
//   owner                      the epoch: how often a server has opened the store for itself alone
//   folders/{folder}           the folder's manifest: its writer's rank, and where the bytes of its files are
//   objects/{folder}/{object}  bytes of the files of one Put. An object is written once, under a name that no other has
//
// A file is there once the manifest has it. So a Put writes the bytes, then the manifest, and a reader sees all files
// of a Put or none. Everything that changes a folder is one conditional write of its manifest (If-Match with the etag
// of the manifest that the change is made from, If-None-Match: * for the first one), and etags never come again, since
// each manifest has a random revision. The service therefore puts all changes of a folder into one order, and each one
// is made from the one before it. Three things follow.
//
// - Fence changes the rank in the manifest. A write of the former writer that comes before it stays, for the new
// manifest
//   is made from the one that has the file. A write that comes behind it fails its condition; the writer then reads the
//   larger rank and is told Aborted. It does not matter when the write was sent, or what any clock says.
// - Remove deletes the manifest first, so the folder is gone at once. A former writer's condition then fails too, since
//   there is nothing to match. Objects that it wrote are removed when the store is opened next. A folder that was
//   removed must not be made again under its name, which holds for videos: their names are random and used once.
// - A write whose answer was lost is repeated under the same condition, and cannot be carried out twice.
//
// This needs of the service: that a read sees what was written before it, and that it keeps the conditions. Amazon's S3
// does; OpenS3Store tries the conditions and refuses a service that does not keep them.
//
// One server alone: there is no lock. Each server that opens the store takes the next epoch, which is the larger part
// of a writer's rank, so whoever comes last has the store, and the one before is told Aborted at its next write to a
// folder that the newer one has written.
#ifndef LONGTAKE_SERVER_STORE_S3_S3_STORE_H_
#define LONGTAKE_SERVER_STORE_S3_S3_STORE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/store/s3/address.h"
#include "server/store/s3/options.h"
#include "server/store/store.h"

namespace spdlog {
class logger;
}

namespace longtake::server {

// `url`: "s3://bucket/prefix"; the bucket is there. A folder of this store has files or folders, and not both.
// InvalidArgument names the option that is wrong. FailedPrecondition: the service does not keep conditions.
// Unavailable: it does not answer, or refuses. `logger` outlives it.
absl::StatusOr<std::unique_ptr<Store>> OpenS3Store(const std::string& url, Sharing sharing, const S3Options& options,
                                                   spdlog::logger* logger);

// What is wrong with the options, as far as it can be seen without the service.
absl::Status CheckS3Options(const std::string& url, const S3Options& options);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_STORE_S3_S3_STORE_H_
