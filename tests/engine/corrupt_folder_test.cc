// A corrupted model folder is refused by name, or loads where the corruption is harmless; it never ends the process.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>

#include "engine/engine.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/temp_folder.h"

namespace longtake {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr char kBundled[] = "models/longtake-tiny";

std::string Read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// The files that loading reads.
std::vector<std::string> Files() {
  return {"longtake.json",
          "tokenizer/tokenizer.model",
          "text_encoder/config.json",
          "text_encoder/model.safetensors",
          "transformer/config.json",
          "transformer/diffusion_pytorch_model.safetensors",
          "vae/config.json",
          "vae/diffusion_pytorch_model.safetensors"};
}

class CorruptFolder : public ::testing::Test {
 protected:
  CorruptFolder() {
    for (const std::string& file : Files()) {
      fs::create_directories((fs::path(folder_.path()) / file).parent_path());
      fs::create_symlink(fs::absolute(fs::path(kBundled) / file), fs::path(folder_.path()) / file);
    }
  }

  absl::Status LoadWith(const std::string& file, const std::string& bytes) {
    const fs::path path = fs::path(folder_.path()) / file;
    fs::remove(path);
    std::ofstream(path, std::ios::binary) << bytes;
    const absl::Status status = Load();
    fs::remove(path);
    fs::create_symlink(fs::absolute(fs::path(kBundled) / file), path);
    return status;
  }
  absl::Status Load() {
    return Engine::Load({.model_dir = folder_.path(), .threads = 1, .max_sessions = 1}).status();
  }

  TempFolder folder_;
};

TEST_F(CorruptFolder, IntactLoads) { EXPECT_TRUE(Load().ok()); }

TEST_F(CorruptFolder, MissingFilesAreNamed) {
  for (const std::string& file : Files()) {
    if (file == "longtake.json") continue;  // then the folder is a bidirectional one without a scheduler's settings
    const fs::path path = fs::path(folder_.path()) / file;
    fs::remove(path);
    EXPECT_THAT(Load().message(), HasSubstr(fs::path(file).filename().string().substr(0, 5))) << file;
    fs::create_symlink(fs::absolute(fs::path(kBundled) / file), path);
  }
}

TEST_F(CorruptFolder, TruncatedFilesAreNamed) {
  for (const std::string& file : Files()) {
    const std::string bytes = Read(fs::path(kBundled) / file);
    for (const size_t keep : {size_t{0}, size_t{7}, bytes.size() / 2, bytes.size() - 1}) {
      const absl::Status status = LoadWith(file, bytes.substr(0, keep));
      // A text file without its last newline is whole.
      if (status.ok() && keep == bytes.size() - 1 && file.ends_with(".json")) continue;
      EXPECT_FALSE(status.ok()) << file << " of " << keep << " bytes";
      EXPECT_THAT(status.message(), HasSubstr(file)) << keep;
    }
  }
}

// Bytes of the settings and of the safetensors' headers changed at random: 60 a file.
TEST_F(CorruptFolder, ChangedBytesNeverEndTheProcess) {
  std::mt19937 random(1);
  int refused = 0;
  for (const std::string& file : Files()) {
    const std::string bytes = Read(fs::path(kBundled) / file);
    const size_t reach = std::min<size_t>(bytes.size(), 4000);
    for (int i = 0; i < 60; ++i) {
      std::string changed = bytes;
      for (int k = 0; k < 3; ++k) changed[random() % reach] = static_cast<char>(random());
      refused += LoadWith(file, changed).ok() ? 0 : 1;
    }
  }
  EXPECT_GT(refused, 100);
}

}  // namespace
}  // namespace longtake
