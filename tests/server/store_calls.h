// Calls of a store that wait for its answer.
#ifndef LONGTAKE_TESTS_SERVER_STORE_CALLS_H_
#define LONGTAKE_TESTS_SERVER_STORE_CALLS_H_

#include <cstdint>
#include <future>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "server/store/store.h"

namespace longtake::server {

inline absl::Status Put(Store& store, std::vector<StoredFile> files, uint64_t token = 0) {
  std::promise<absl::Status> done;
  store.Put(std::move(files), token, [&done](const absl::Status& status) { done.set_value(status); });
  return done.get_future().get();
}

inline absl::Status Remove(Store& store, const std::string& name, uint64_t token = 0) {
  std::promise<absl::Status> done;
  store.Remove(name, token, [&done](const absl::Status& status) { done.set_value(status); });
  return done.get_future().get();
}

inline absl::Status Fence(Store& store, const std::string& folder, uint64_t token) {
  std::promise<absl::Status> done;
  store.Fence(folder, token, [&done](const absl::Status& status) { done.set_value(status); });
  return done.get_future().get();
}

// What is in the folder.
inline std::vector<std::string> Names(const Store& store, const std::string& folder) {
  absl::StatusOr<std::vector<std::string>> names = store.List(folder);
  EXPECT_TRUE(names.ok()) << names.status();
  return names.value_or(std::vector<std::string>());
}

inline std::string Bytes(const Store& store, const std::string& name) {
  absl::StatusOr<std::string> bytes = store.Get(name);
  EXPECT_TRUE(bytes.ok()) << bytes.status();
  return bytes.value_or("");
}

}  // namespace longtake::server

#endif  // LONGTAKE_TESTS_SERVER_STORE_CALLS_H_
