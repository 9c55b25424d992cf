// The two programs as a user runs them, with the bundled model.
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/http_get.h"

namespace longtake {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

constexpr char kServer[] = LONGTAKE_SERVER_PROGRAM;
constexpr char kClient[] = LONGTAKE_CLIENT_PROGRAM;
constexpr char kModel[] = "models/longtake-tiny";

std::string Read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// A program under way, its output in files. Killed if the test leaves it.
class Process {
 public:
  Process(const fs::path& folder, const std::string& name, std::vector<std::string> arguments)
      : out_(folder / (name + ".out")), err_(folder / (name + ".err")) {
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, out_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_addopen(&actions, 2, err_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    EXPECT_EQ(posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ), 0);
    posix_spawn_file_actions_destroy(&actions);
  }
  ~Process() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    Wait();
  }
  // Exit status; 128 + signal where one ended it.
  int Wait() {
    int status = 0;
    EXPECT_EQ(waitpid(pid_, &status, 0), pid_);
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  // Whether it has not ended yet.
  bool running() const {
    siginfo_t ended = {};
    EXPECT_EQ(waitid(P_PID, static_cast<id_t>(pid_), &ended, WEXITED | WNOHANG | WNOWAIT), 0);
    return ended.si_pid == 0;
  }
  pid_t pid() const { return pid_; }
  void Signal(int signal) { kill(pid_, signal); }
  std::string out() const { return Read(out_); }
  std::string err() const { return Read(err_); }

 private:
  fs::path out_, err_;
  pid_t pid_ = 0;
};

class Programs : public testing::Test {
 protected:
  void SetUp() override {
    folder = fs::path(testing::TempDir()) / absl::StrCat("programs_test_", getpid());
    fs::create_directories(folder);
  }
  void TearDown() override {
    server.reset();
    fs::remove_all(folder);
  }
  // `options` come last, so they hold; `files`: how many it may open.
  void StartServer(const std::string& model = kModel, const std::vector<std::string>& options = {}, int files = 1024) {
    std::vector<std::string> arguments = {"/bin/sh",
                                          "-c",
                                          absl::StrCat("ulimit -n ", files, "; exec \"$0\" \"$@\""),
                                          kServer,
                                          "--model",
                                          model,
                                          "--listen",
                                          "127.0.0.1:0",
                                          "--metrics-listen",
                                          "127.0.0.1:0",
                                          "--max-sessions",
                                          "2",
                                          "--shutdown-grace-seconds",
                                          "0"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    server = std::make_unique<Process>(folder, "server", arguments);
    port = metrics_port = 0;
    Await([&] { return absl::StrContains(server->out(), "\n"); }, "the server's ports");
    ASSERT_EQ(std::sscanf(server->out().c_str(), "port=%d metrics_port=%d", &port, &metrics_port), 2) << server->err();
  }
  // Waits for what a program does. Fails after five minutes: the engine's threads have a low priority, and get a tenth
  // of a core or less on a busy machine.
  static void Await(const std::function<bool()>& condition, const char* what) {
    for (int i = 0; i < 15'000; ++i) {
      if (condition()) return;
      absl::SleepFor(absl::Milliseconds(20));
    }
    FAIL() << "waited in vain for " << what;
  }
  // Waits until its log says this.
  void AwaitLog(const std::string& text) const {
    Await([&] { return absl::StrContains(server->err(), text); }, text.c_str());
  }
  // Waits until the client has said which video it gets, and returns that video's name.
  static std::string AwaitName(const Process& client) {
    Await([&] { return absl::StrContains(client.err(), "\n"); }, "the video's name");
    const std::string said = client.err();  // "videos/...: models/longtake-tiny, ..."
    EXPECT_THAT(said, testing::StartsWith("videos/"));
    return said.substr(0, said.find(':'));
  }
  std::string Address() const { return absl::StrCat("127.0.0.1:", port); }
  // `longtake` with --server; its exit status.
  int Client(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), kClient);
    arguments.insert(arguments.end(), {"--server", Address()});
    client = std::make_unique<Process>(folder, "client", arguments);
    return client->Wait();
  }
  static std::string Shell(const std::string& command) {
    FILE* pipe = popen(command.c_str(), "r");
    std::string text;
    std::array<char, 4096> buffer;
    while (size_t size = fread(buffer.data(), 1, buffer.size(), pipe)) text.append(buffer.data(), size);
    EXPECT_EQ(pclose(pipe), 0) << command;
    return text;
  }
  // What /metrics answers.
  std::string Metrics() const { return HttpGet(metrics_port, "/metrics"); }
  // A metric's value, by its name with labels as /metrics spells them; -1: it is not there.
  double Metric(const std::string& name) const {
    for (const std::string& line : std::vector<std::string>(absl::StrSplit(Metrics(), '\n'))) {
      if (absl::StartsWith(line, name + " ")) return std::stod(line.substr(name.size() + 1));
    }
    return -1;
  }

  fs::path folder;
  int port = 0, metrics_port = 0;
  std::unique_ptr<Process> server, client;
};

TEST_F(Programs, FromAPromptToAFileThatPlays) {
  StartServer();
  ASSERT_EQ(Client({"models", "--wait", "300"}), 0) << client->err() << server->err();
  EXPECT_THAT(client->out(), HasSubstr("longtake-tiny"));
  EXPECT_THAT(client->out(), HasSubstr("\n  knows            One red, orange, yellow"));
  EXPECT_THAT(client->out(), HasSubstr("\n  example          a red ball rises slowly over the sea in the fog\n"));

  const fs::path file = folder / "ball.mp4";
  const std::vector<std::string> generate = {"generate", "a red ball bounces", "--seconds",   "2",     "--seed",
                                             "5",        "--output",           file.string(), "--json"};
  ASSERT_EQ(Client(generate), 0) << client->err();
  const nlohmann::json summary = nlohmann::json::parse(client->out());
  EXPECT_TRUE(summary["finished"]);
  EXPECT_EQ(summary["seed"], 5);
  EXPECT_EQ(summary["frames"], 33);
  EXPECT_EQ(summary["bytes"], fs::file_size(file));
  // Of two blocks the first has a next one. Whether it arrives before that one is denoised depends on what else this
  // machine does, and is shown where passes can be held: EndToEnd.ChunksAreSentWhileTheNextAreComputed.
  EXPECT_EQ(summary["chunks_with_next"], 1);
  EXPECT_GE(summary["chunks_before_next_denoised"], 0);
  EXPECT_LE(summary["chunks_before_next_denoised"], 1);
  EXPECT_EQ(Shell(absl::StrCat("ffprobe -v error -count_frames -show_entries stream=nb_read_frames,color_primaries -of "
                               "csv=p=0 ",
                               file.string(), " 2>&1")),
            "bt709,33\n");
  // Not a terminal: a line for each chunk, and none that is redrawn.
  EXPECT_THAT(client->err(), HasSubstr("block 2/2"));  // where the maker is by then: the first may be behind it
  EXPECT_THAT(client->err(), testing::Not(HasSubstr("\r")));

  const std::string once = Read(file);
  ASSERT_EQ(Client(generate), 0);
  EXPECT_TRUE(Read(file) == once) << "the same request made other bytes";

  server->Signal(SIGTERM);
  EXPECT_EQ(server->Wait(), 0) << server->err();
  EXPECT_THAT(server->err(), HasSubstr("stopped"));
  EXPECT_THAT(server->err(), testing::Not(HasSubstr("red ball")));
}

TEST_F(Programs, AStoryIsToldAndAQuoteGiven) {
  StartServer();
  ASSERT_EQ(Client({"models", "--wait", "300"}), 0);
  EXPECT_THAT(client->out(), HasSubstr("prompt switch yes"));
  const fs::path file = folder / "story.mp4";
  ASSERT_EQ(Client({"generate", "a red ball, bouncing", "--then", "1.5:night falls, with stars", "--seconds", "3",
                    "--seed", "5", "--max-wait", "60", "--output", file.string(), "--json"}),
            0)
      << client->err();
  const nlohmann::json summary = nlohmann::json::parse(client->out());
  // 49 frames, 13 latent ones in blocks of 5, 4 and 4: 17 frames, then 16 each. A latent frame is a chunk.
  EXPECT_EQ(summary["prompt_changes"].size(), 1u);
  EXPECT_EQ(summary["prompt_changes"][0]["block"], 2);
  EXPECT_DOUBLE_EQ(summary["prompt_changes"][0]["first_pts"], 33.0 / 16);
  EXPECT_EQ(summary["chunks"][8]["prompt"], 0);
  EXPECT_EQ(summary["chunks"][9]["prompt"], 1);
  EXPECT_EQ(summary["chunks"][9]["denoise_steps"], summary["denoise_steps"]);
  EXPECT_THAT(client->err(), HasSubstr("prompt 1 holds from 2.06 s on"));

  ASSERT_EQ(Client({"quote", "--seconds", "10", "--json"}), 0) << client->err();
  const nlohmann::json quote = nlohmann::json::parse(client->out());
  EXPECT_TRUE(quote["admitted"]);
  EXPECT_GT(quote["first_chunk_seconds"], 0);
  EXPECT_EQ(Client({"quote", "--seconds", "5000"}), 1);
  EXPECT_THAT(client->err(), HasSubstr("spec.duration: 5000"));
  EXPECT_EQ(Client({"prompt", "77", "a house"}), 1);
  EXPECT_THAT(client->err(), HasSubstr("NOT_FOUND: there is no videos/77"));
  EXPECT_EQ(Client({"generate", "a", "--then", "soon", "--output", file}), 1);
  EXPECT_THAT(client->err(), HasSubstr("--then"));

  Process running(folder, "running",
                  {kClient, "generate", "a blue star", "--seconds", "200", "--max-lead", "2", "--output", file,
                   "--server", Address()});
  ASSERT_EQ(Client({"prompt", AwaitName(running), "night falls", "--at", "100"}), 0) << client->err();
  EXPECT_THAT(client->out(), HasSubstr("prompt 1 holds from 100."));
  running.Signal(SIGINT);
  EXPECT_EQ(running.Wait(), 130);
  server->Signal(SIGTERM);
  EXPECT_EQ(server->Wait(), 0);
  EXPECT_THAT(server->err(), testing::Not(HasSubstr("night")));
}

TEST_F(Programs, AKilledClientLeavesNoWorkRunning) {
  StartServer();
  ASSERT_EQ(Client({"models", "--wait", "300"}), 0);
  const fs::path file = folder / "long.mp4";
  Process victim(folder, "victim",
                 {kClient, "generate", "a blue star", "--seconds", "200", "--output", file, "--server", Address()});
  Await([&] { return Metric("longtake_chunks_total") >= 1; }, "a chunk");
  victim.Signal(SIGKILL);
  victim.Wait();
  Await([&] { return Metric("longtake_videos_ended_total{outcome=\"cancelled\"}") == 1; }, "the video's end");
  EXPECT_EQ(Metric("longtake_sessions{state=\"active\"}"), 0);
  EXPECT_EQ(Metric("longtake_passes_in_flight"), 0);
  EXPECT_EQ(Metric("longtake_memory_used_bytes{region=\"state\"}"), 0);
  const double passes = Metric("longtake_pass_device_seconds_count{kind=\"denoise\"}");
  absl::SleepFor(absl::Milliseconds(500));
  EXPECT_EQ(Metric("longtake_pass_device_seconds_count{kind=\"denoise\"}"), passes);
}

TEST_F(Programs, AnInterruptedClientCancelsAndKeepsWhatArrived) {
  // A second after SIGTERM it cuts its streams. It then has ten seconds until it ends with an error.
  StartServer(kModel, {"--shutdown-seconds", "10", "--shutdown-reading-seconds", "9"});
  ASSERT_EQ(Client({"models", "--wait", "300"}), 0);
  const fs::path file = folder / "long.mp4";
  Process process(folder, "interrupted",
                  {kClient, "generate", "a blue star", "--seconds", "200", "--output", file, "--server", Address()});
  // It says so once a chunk is in its file.
  Await([&] { return absl::StrContains(process.err(), "% block "); }, "a chunk in the file");
  process.Signal(SIGINT);
  EXPECT_EQ(process.Wait(), 130);
  EXPECT_THAT(process.err(), HasSubstr("interrupted"));
  EXPECT_GT(fs::file_size(file), 1000u);
  Shell(absl::StrCat("ffprobe -v error ", file.string(), " 2>&1"));
  Await([&] { return Metric("longtake_videos_ended_total{outcome=\"cancelled\"}") == 1; }, "the video's end");

  // A server told to end while it makes a video ends before that is made.
  Process last(folder, "last",
               {kClient, "generate", "a blue star", "--seconds", "200", "--output", file, "--server", Address()});
  AwaitName(last);
  server->Signal(SIGTERM);
  EXPECT_EQ(server->Wait(), 0);
  EXPECT_EQ(last.Wait(), 1);
  EXPECT_THAT(last.err(), HasSubstr("UNAVAILABLE: the server is shutting down"));
}

TEST_F(Programs, AVideoThatIsKeptIsWatchedAgain) {
  // A proxy that nobody is: loopback addresses go without one.
  setenv("http_proxy", "http://127.0.0.1:9", 1);
  StartServer();
  ASSERT_EQ(Client({"models", "--wait", "300"}), 0);
  const fs::path file = folder / "kept.mp4", rest = folder / "rest.mp4";
  ASSERT_EQ(Client({"generate", "a red ball bounces", "--seconds", "4", "--keep", "-o", file}), 0) << client->err();
  ASSERT_EQ(Client({"list", "--json"}), 0) << client->err();
  const nlohmann::json listed = nlohmann::json::parse(client->out());
  const std::string name = listed["name"];
  EXPECT_EQ(listed["state"], "STATE_MADE");
  ASSERT_EQ(Client({"get", name}), 0);
  EXPECT_THAT(client->out(), HasSubstr("made"));
  ASSERT_EQ(Client({"watch", name, "-o", "-", "--quiet"}), 0);
  EXPECT_TRUE(client->out() == Read(file)) << "another viewer got other bytes";
  ASSERT_EQ(Client({"watch", name, "--from-block", "1", "--no-follow", "-o", rest}), 0);
  EXPECT_LT(fs::file_size(rest), fs::file_size(file));
  Shell(absl::StrCat("ffmpeg -v error -xerror -i ", rest.string(), " -f null - 2>&1"));
  EXPECT_EQ(Client({"watch", name, "-o", "/dev/full"}), 1);
  EXPECT_THAT(client->err(), HasSubstr("cannot write /dev/full: No space left"));
  EXPECT_EQ(Client({"generate", "x", "--json", "-o", "-"}), 1);
  EXPECT_THAT(client->err(), HasSubstr("--json"));
  ASSERT_EQ(Client({"cancel", name}), 0) << "one that has ended stays as it is";
  EXPECT_THAT(client->out(), HasSubstr("made"));
  ASSERT_EQ(Client({"delete", name}), 0);
  EXPECT_EQ(Client({"get", name}), 1);
  EXPECT_THAT(client->err(), HasSubstr("NOT_FOUND"));
  unsetenv("http_proxy");
}

TEST_F(Programs, AForkIsTheVideoThatItsSpecWouldMake) {
  StartServer();
  ASSERT_EQ(Client({"models", "--wait", "300"}), 0);
  const auto make = [&](const std::string& output, std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--output", folder / output, "--json"});
    EXPECT_EQ(Client(arguments), 0) << client->err();
    return nlohmann::json::parse(client->out())["name"].get<std::string>();
  };
  const std::vector<std::string> generate = {"generate", "a red ball", "--seconds", "4", "--seed", "5", "--keep"};
  const std::string video = make("whole.mp4", generate);
  // The third block begins at 33 frames of 16 a second.
  make("fork.mp4", {"fork", video, "a blue star", "--from-block", "2"});
  std::vector<std::string> story = generate;
  story.insert(story.end(), {"--then", "2.0625:a blue star"});
  make("story.mp4", story);
  EXPECT_TRUE(Read(folder / "fork.mp4") == Read(folder / "story.mp4"));
  EXPECT_FALSE(Read(folder / "fork.mp4") == Read(folder / "whole.mp4"));
  make("longer.mp4", {"fork", video, "a blue star", "--from-block", "2", "--seconds", "8"});
  EXPECT_GT(fs::file_size(folder / "longer.mp4"), fs::file_size(folder / "fork.mp4"));
}

TEST_F(Programs, AVideoOutlivesAServerThatIsKilled) {
  const std::vector<std::string> store = {"--store", folder / "store"};
  StartServer(kModel, store);
  ASSERT_EQ(Client({"models", "--wait", "300"}), 0);
  const fs::path whole = folder / "whole.mp4", cut = folder / "cut.mp4", again = folder / "again.mp4";
  const std::vector<std::string> generate = {"generate", "a red ball bounces", "--seconds", "10", "--seed", "5",
                                             "--keep"};
  std::vector<std::string> arguments = generate;
  arguments.insert(arguments.end(), {"-o", whole});
  ASSERT_EQ(Client(arguments), 0) << client->err();

  // A lead of at most three seconds makes it last for seven: the server is killed before its end.
  const double chunks = Metric("longtake_chunks_total");
  arguments.insert(arguments.begin(), kClient);
  arguments.back() = cut;
  arguments.insert(arguments.end(), {"--max-lead", "3", "--server", Address()});
  Process running(folder, "running", arguments);
  Await([&] { return Metric("longtake_chunks_total") >= chunks + 8; }, "two seconds of video");
  server->Signal(SIGKILL);
  server->Wait();
  EXPECT_EQ(running.Wait(), 1);
  EXPECT_THAT(running.err(), HasSubstr("UNAVAILABLE"));
  const std::string name = AwaitName(running);

  StartServer(kModel, store);
  ASSERT_EQ(Client({"models", "--wait", "300"}), 0);
  ASSERT_EQ(Client({"watch", name, "-o", again}), 0) << client->err();
  EXPECT_TRUE(Read(again) == Read(whole)) << "the video went on with other bytes";
  EXPECT_TRUE(Read(whole).starts_with(Read(cut)));
  EXPECT_THAT(server->err(), HasSubstr("video goes on name=" + name));
  server->Signal(SIGTERM);
  EXPECT_EQ(server->Wait(), 0);
}

TEST_F(Programs, ALoadTestSaysWhatItsViewersSaw) {
  StartServer();
  ASSERT_EQ(Client({"models", "--wait", "300"}), 0);
  const fs::path file = folder / "load.json";
  ASSERT_EQ(Client({"loadtest", "--rate", "2", "--duration", "2", "--shortest", "1", "--longest", "2", "--json", file}),
            0)
      << client->err();
  EXPECT_THAT(client->out(), HasSubstr("continuity"));
  const nlohmann::json report = nlohmann::json::parse(Read(file));
  EXPECT_EQ(report["model"], "models/longtake-tiny");
  EXPECT_EQ(report["failed"], 0) << report.dump(1);
  EXPECT_GE(report["finished"], 2);
  EXPECT_EQ(report["finished"], report["viewers"]) << "however slow the machine, all get their videos";
  EXPECT_GT(report["video_s"], 2);
  EXPECT_GT(report["client_cpu_s"], 0);

  EXPECT_EQ(Client({"loadtest", "--duration", "1"}), 1);
  EXPECT_THAT(client->err(), HasSubstr("--viewers or --rate"));
  const double chunks = Metric("longtake_chunks_total");
  Process interrupted(folder, "interrupted",
                      {kClient, "loadtest", "--rate", "1", "--duration", "600", "--server", Address()});
  // The client asks for no video before it has its handler.
  Await([&] { return Metric("longtake_chunks_total") > chunks; }, "a viewer's chunk");
  interrupted.Signal(SIGINT);
  EXPECT_EQ(interrupted.Wait(), 130);
  EXPECT_THAT(interrupted.out(), HasSubstr("continuity"));
}

TEST_F(Programs, ErrorsNameWhatIsWrong) {
  StartServer();
  ASSERT_EQ(Client({"models", "--wait", "300"}), 0);
  const fs::path file = folder / "none.mp4";
  EXPECT_EQ(Client({"generate", " ", "--seconds", "5000", "--size", "3x3", "--output", file}), 1);
  EXPECT_THAT(client->err(), HasSubstr("spec.prompt: empty"));
  EXPECT_THAT(client->err(), HasSubstr("spec.size: 3x3 is not offered"));
  EXPECT_THAT(client->err(), HasSubstr("spec.duration: 5000"));
  EXPECT_FALSE(fs::exists(file)) << "a refused request made a file";
  EXPECT_EQ(Client({"generate", "a", "--size", "big", "--output", file}), 1);
  EXPECT_THAT(client->err(), HasSubstr("--size"));
  EXPECT_EQ(Client({"generate", "a", "--seconds", "0.1", "--output", folder / "no" / "such"}), 1);
  EXPECT_THAT(client->err(), HasSubstr("cannot write"));
  server->Signal(SIGTERM);
  EXPECT_EQ(server->Wait(), 0);
  EXPECT_EQ(Client({"models"}), 1) << "nobody listens any more";
  EXPECT_THAT(client->err(), HasSubstr("UNAVAILABLE"));
}

TEST_F(Programs, ASecondSignalEndsTheServerAtOnce) {
  StartServer(kModel, {"--shutdown-seconds", "600"});
  ASSERT_EQ(Client({"models", "--wait", "300"}), 0);
  ASSERT_EQ(Client({"generate", "a blue star", "--seconds", "1", "--output", folder / "short.mp4"}), 0);
  Process viewer(folder, "viewer",
                 {kClient, "generate", "a blue star", "--seconds", "200", "--max-lead", "2", "--output",
                  folder / "long.mp4", "--server", Address()});
  AwaitName(viewer);
  server->Signal(SIGTERM);
  AwaitLog("new work is refused");
  server->Signal(SIGINT);
  EXPECT_EQ(server->Wait(), 130);
  EXPECT_EQ(viewer.Wait(), 1);
  EXPECT_THAT(viewer.err(), HasSubstr("UNAVAILABLE"));
}

TEST_F(Programs, ASignalWhileItLoadsEndsTheServer) {
  // A minute of reading at least: the folder's digest reads files of up to 32 MiB whole. Zeros take no place on the
  // disk.
  const fs::path slow = folder / "slow";
  fs::copy(kModel, slow, fs::copy_options::recursive);
  for (int i = 0; i < 3000; ++i) {
    const fs::path zeros = slow / "transformer" / absl::StrCat("zeros_", i, ".safetensors");
    std::ofstream(zeros).close();
    fs::resize_file(zeros, 32 << 20);
  }
  StartServer(slow);
  EXPECT_THAT(HttpGet(metrics_port, "/livez"), testing::StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(HttpGet(metrics_port, "/startupz"), testing::StartsWith("HTTP/1.1 503"));
  server->Signal(SIGTERM);
  EXPECT_EQ(server->Wait(), 0);
  EXPECT_THAT(server->err(), HasSubstr("stopped"));
}

TEST_F(Programs, WithoutAFreeDescriptorConnectionsAreTurnedAwayAndTheServerGoesOn) {
  StartServer();
  ASSERT_EQ(Client({"models", "--wait", "300"}), 0);
  const auto open = std::distance(fs::directory_iterator(absl::StrCat("/proc/", server->pid(), "/fd")), {});
  rlimit limit = {};
  ASSERT_EQ(prlimit(server->pid(), RLIMIT_NOFILE, nullptr, &limit), 0);
  limit.rlim_cur = static_cast<rlim_t>(open + 8);
  ASSERT_EQ(prlimit(server->pid(), RLIMIT_NOFILE, &limit, nullptr), 0);
  std::vector<int> connections;
  for (int i = 0; i < 16; ++i) connections.push_back(ConnectTo(port));
  AwaitLog("cannot accept connections: Too many open files");
  // It is closed, rather than left to wait.
  char byte = 0;
  EXPECT_LE(recv(connections.back(), &byte, 1, 0), 0);
  for (const int connection : connections) close(connection);
  ASSERT_EQ(Client({"models", "--wait", "300"}), 0) << client->err();
  EXPECT_EQ(Client({"generate", "a blue star", "--seconds", "1", "--output", folder / "a.mp4"}), 0) << client->err();
  server->Signal(SIGTERM);
  EXPECT_EQ(server->Wait(), 0);
}

TEST_F(Programs, IdleConnectionsGiveWayToCalls) {
  StartServer(kModel, {}, /*files=*/64);
  ASSERT_EQ(Client({"models", "--wait", "300"}), 0);
  Process watcher(
      folder, "watcher",
      {kClient, "generate", "a blue star", "--seconds", "10", "--server", Address(), "--output", folder / "a.mp4"});
  Await([&] { return Metric("longtake_chunks_total") >= 1; }, "a chunk");
  std::vector<int> connections;
  for (int i = 0; i < 500; ++i) connections.push_back(ConnectTo(port));
  // Each one takes the place of another, and the watcher is not idle.
  EXPECT_EQ(Client({"models", "--wait", "300"}), 0) << client->err();
  EXPECT_EQ(watcher.Wait(), 0) << watcher.err();
  AwaitLog("as many connections are open as may be: closed ");
  for (const int connection : connections) close(connection);
}

TEST_F(Programs, ASecondInterruptEndsAClientThatCannotWrite) {
  StartServer();
  ASSERT_EQ(Client({"models", "--wait", "300"}), 0);
  // A pipe that nobody reads, as that of a player which hangs: opening it to write waits for a reader.
  const fs::path pipe = folder / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  Process stuck(folder, "stuck",
                {kClient, "generate", "a blue star", "--seconds", "20", "--output", pipe, "--server", Address()});
  // It opens its output once it has said which video this is, before it reads on.
  AwaitName(stuck);
  // The first one ends the call and not the client. Two that come before either is taken count as one, hence the loop.
  for (int i = 0; i < 1200 && stuck.running(); ++i) {
    stuck.Signal(SIGINT);
    absl::SleepFor(absl::Milliseconds(50));
  }
  EXPECT_EQ(stuck.Wait(), 130);
  EXPECT_THAT(stuck.err(), testing::Not(HasSubstr("interrupted"))) << "the first one ended it";
}

// options_test has the rest.
TEST_F(Programs, TheServerSaysWhatItIsAndWhatItsOptionsAre) {
  const fs::path file = folder / "server.toml";
  const auto server_says = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), kServer);
    server = std::make_unique<Process>(folder, "server", arguments);
    return server->Wait();
  };
  EXPECT_EQ(server_says({"--version"}), 0);
  EXPECT_THAT(server->out(),
              testing::MatchesRegex("longtake-server [0-9.]+ \\(commit (unknown|[0-9a-f]+(-dirty)?)\\)\n"));
  EXPECT_EQ(server_says({"--model", kModel, "--print-config"}), 0) << server->err();
  std::ofstream(file) << server->out();
  EXPECT_EQ(server_says({"--config", file, "--check-config"}), 0) << server->err();
  EXPECT_EQ(server_says({"--config", file, "--check-config", "--tokens", folder / "none"}), 1);
  EXPECT_THAT(server->err(), HasSubstr("tokens: "));
}

TEST_F(Programs, TopShowsWhatAServerDoes) {
  StartServer();
  ASSERT_EQ(Client({"models", "--wait", "300"}), 0);
  const auto top = [&](const std::string& metrics) {
    client = std::make_unique<Process>(
        folder, "top", std::vector<std::string>{kClient, "top", "--once", "--interval", "0.1", "--metrics", metrics});
    return client->Wait();
  };
  EXPECT_EQ(top(absl::StrCat("127.0.0.1:", metrics_port)), 0) << client->err();
  EXPECT_THAT(client->out(), testing::AllOf(HasSubstr("model longtake-tiny"), HasSubstr("transformer  busy"),
                                            HasSubstr("places       2:"), testing::Not(HasSubstr("\033"))));
  EXPECT_EQ(top(absl::StrCat("127.0.0.1:", port)), 1) << "that port has no HTTP";
  EXPECT_THAT(client->err(), HasSubstr(absl::StrCat("127.0.0.1:", port)));
}

TEST_F(Programs, ATokenOpensTheServerAndIsSaidNowhere) {
  const std::string token = "unmistakable-token", prompt = "an unmistakable ball";
  std::ofstream(folder / "token") << token << "\n";
  std::ofstream(folder / "tokens") << "acme alice "
                                   << Shell(absl::StrCat("printf %s ", token, " | sha256sum | cut -d' ' -f1"));
  std::ofstream(folder / "quotas") << R"({"acme": {"concurrent_videos": 1}})";
  StartServer(kModel,
              {"--tokens", folder / "tokens", "--quotas", folder / "quotas", "--production", "--log-level", "debug"});
  AwaitLog("ready=yes");
  const std::vector<std::string> generate = {"generate", prompt, "--seconds", "1", "-o", folder / "a.mp4"};
  const auto with = [&generate](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = generate;
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  };
  EXPECT_EQ(Client(generate), 1);
  EXPECT_THAT(client->err(), HasSubstr("does not say who is asking"));
  EXPECT_EQ(Client(with({"--token-file", folder / "token"})), 0) << client->err();
  const std::string said = client->out() + client->err();
  setenv("LONGTAKE_TOKEN", token.c_str(), 1);
  EXPECT_EQ(Client({"list"}), 0) << client->err();
  setenv("LONGTAKE_TOKEN", "another-unmistakable-token", 1);
  EXPECT_EQ(Client({"list"}), 1);
  EXPECT_THAT(client->err(), HasSubstr("the token is not known"));
  unsetenv("LONGTAKE_TOKEN");
  EXPECT_THAT(HttpGet(metrics_port, "/metrics"), HasSubstr("401"));
  EXPECT_THAT(HttpGet(metrics_port, "/readyz"), HasSubstr("200"));
  const std::string metrics = HttpGet(metrics_port, "/metrics", absl::StrCat("Authorization: Bearer ", token, "\r\n"));
  EXPECT_THAT(metrics, HasSubstr("longtake_chunks_total"));
  server->Signal(SIGTERM);
  EXPECT_EQ(server->Wait(), 0);
  for (const std::string& text : {server->out(), server->err(), client->err(), said, metrics}) {
    EXPECT_THAT(text, testing::Not(HasSubstr("unmistakable")));
  }
}

TEST_F(Programs, ALinkShowsAVideoToWhoeverHasIt) {
  std::ofstream(folder / "token") << "a-token\n";
  std::ofstream(folder / "tokens") << "acme alice " << Shell("printf %s a-token | sha256sum | cut -d' ' -f1");
  std::ofstream(folder / "link-keys") << std::string(64, 'a') << "\n";
  StartServer(kModel,
              {"--tokens", folder / "tokens", "--link-keys", folder / "link-keys", "--http-listen", "127.0.0.1:0"});
  AwaitLog("ready=yes");
  int http_port = 0;
  ASSERT_EQ(std::sscanf(server->out().c_str(), "port=%*d metrics_port=%*d http_port=%d", &http_port), 1);
  const fs::path file = folder / "a.mp4";
  const auto ask = [this](std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--token-file", folder / "token"});
    return Client(arguments);
  };
  ASSERT_EQ(ask({"generate", "a ball", "--seconds", "1", "--keep", "-o", file}), 0) << client->err();
  const std::string name = AwaitName(*client);
  ASSERT_EQ(ask({"link", name, "--for", "30m", "--base-url", "https://video.example/", "--json"}), 0) << client->err();
  const auto link = nlohmann::json::parse(client->out());
  const std::string stream = link["stream"], origin = "https://video.example";
  ASSERT_THAT(stream, testing::StartsWith(absl::StrCat(origin, "/v1/", name, "/stream.mp4?link=")));
  EXPECT_TRUE(absl::EndsWith(HttpGet(http_port, stream.substr(origin.size())), "\r\n\r\n" + Read(file)));
  EXPECT_THAT(HttpGet(http_port, absl::StrCat("/v1/", name, "/stream.mp4")), HasSubstr("401"));
  EXPECT_EQ(ask({"link", name}), 0) << client->err();
  EXPECT_THAT(client->out(), HasSubstr(absl::StrCat("page      /#", name, "?link=")));
  EXPECT_EQ(ask({"link", name, "--for", "soon"}), 1);
  EXPECT_THAT(client->err(), HasSubstr("--for: \"soon\" is no duration"));
  EXPECT_EQ(ask({"link", name, "--for", "1000h"}), 1);
  EXPECT_THAT(client->err(), HasSubstr("duration: "));
}

TEST_F(Programs, ABrokenModelFolderEndsTheServerWithAWord) {
  const fs::path broken = folder / "broken";
  fs::copy(kModel, broken, fs::copy_options::recursive);
  fs::resize_file(broken / "transformer" / "diffusion_pytorch_model.safetensors", 1000);
  StartServer(broken);
  EXPECT_EQ(server->Wait(), 1);
  EXPECT_THAT(server->err(), HasSubstr("cannot load"));
  EXPECT_THAT(server->err(), HasSubstr("diffusion_pytorch_model.safetensors"));
  StartServer(folder / "absent");
  EXPECT_EQ(server->Wait(), 1);
  EXPECT_THAT(server->err(), HasSubstr("absent"));
}

}  // namespace
}  // namespace longtake
