// The digest of a model folder follows what the model is made of, and nothing else.
#include "engine/models/folder/model_digest.h"

#include <filesystem>
#include <fstream>
#include <string>

#include "gtest/gtest.h"
#include "tests/engine/temp_folder.h"

namespace longtake {
namespace {

void Write(const std::string& path, const std::string& text) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

void WriteModel(const std::string& folder) {
  Write(folder + "/longtake.json", R"({"fps":16})");
  Write(folder + "/vae/config.json", "{}");
  Write(folder + "/transformer/model.safetensors", std::string(1000, 'w'));
}

TEST(ModelDigest, FollowsEveryFileOfTheModel) {
  const TempFolder first, second;
  WriteModel(first.path());
  WriteModel(second.path());
  const std::string digest = *ModelDigest(first.path());
  EXPECT_EQ(digest.size(), 16u);
  EXPECT_EQ(*ModelDigest(second.path()), digest);
  Write(second.path() + "/README.md", "about");
  Write(second.path() + "/transformer/notes.txt", "about");
  Write(second.path() + "/samples/config.json", "{}");
  EXPECT_EQ(*ModelDigest(second.path()), digest);
  for (const char* file : {"/longtake.json", "/vae/config.json", "/transformer/model.safetensors", "/tokenizer/x.json",
                           "/tiny_decoder/taew2_1.safetensors"}) {
    WriteModel(second.path());
    Write(second.path() + file, "changed");
    EXPECT_NE(*ModelDigest(second.path()), digest) << file;
  }
}

TEST(ModelDigest, DoesNotFollowWhatIsOnlyShownToPeople) {
  const TempFolder folder;
  WriteModel(folder.path());
  const std::string digest = *ModelDigest(folder.path());
  Write(folder.path() + "/longtake.json", R"({"about": "Balls.", "fps": 16, "examples": ["a red ball"]})");
  EXPECT_EQ(*ModelDigest(folder.path()), digest);
  Write(folder.path() + "/longtake.json", R"({"about": "Balls.", "fps": 17})");
  EXPECT_NE(*ModelDigest(folder.path()), digest);
}

// Too large to be read whole.
TEST(ModelDigest, LooksIntoLargeFiles) {
  const TempFolder folder;
  WriteModel(folder.path());
  const std::string weights = folder.path() + "/transformer/model.safetensors";
  std::filesystem::resize_file(weights, uint64_t{100} << 20);
  const std::string digest = *ModelDigest(folder.path());
  // A page in 400 KB is looked at; training changes all of them.
  std::fstream file(weights, std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(50 << 20);
  file << std::string(size_t{1} << 20, 't');
  file.close();
  EXPECT_NE(*ModelDigest(folder.path()), digest);
}

}  // namespace
}  // namespace longtake
