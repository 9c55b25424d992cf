// moto's S3 in a process of its own.
#ifndef LONGTAKE_TESTS_SERVER_MOTO_SERVER_H_
#define LONGTAKE_TESTS_SERVER_MOTO_SERVER_H_

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace longtake::server {

// With a bucket "videos", in memory; ends with this, or with the process.
class MotoServer {
 public:
  // scripts/test.sh makes it.
  static constexpr char kPython[] = ".venv-test/bin/python", kScript[] = "tests/store/moto_s3.py";
  static bool IsInstalled() { return access(".venv-test/bin/moto_server", X_OK) == 0 && access(kPython, X_OK) == 0; }

  MotoServer() {
    std::array<int, 2> in = {}, out = {};
    EXPECT_EQ(pipe2(in.data(), O_CLOEXEC), 0);
    EXPECT_EQ(pipe2(out.data(), O_CLOEXEC), 0);
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      dup2(in[0], STDIN_FILENO);
      dup2(out[1], STDOUT_FILENO);
      execl(kPython, kPython, kScript, "videos", nullptr);
      _exit(127);
    }
    close(in[0]);
    close(out[1]);
    stdin_ = in[1];
    std::string line;
    for (char c = 0; read(out[0], &c, 1) == 1 && c != '\n';) line += c;
    close(out[0]);
    EXPECT_NE(line, "") << "moto does not start";
    endpoint_ = absl::StrCat("http://127.0.0.1:", line);
  }
  ~MotoServer() {
    close(stdin_);
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  MotoServer(const MotoServer&) = delete;
  MotoServer& operator=(const MotoServer&) = delete;

  const std::string& endpoint() const { return endpoint_; }

 private:
  pid_t pid_ = 0;
  int stdin_ = -1;
  std::string endpoint_;
};

}  // namespace longtake::server

#endif  // LONGTAKE_TESTS_SERVER_MOTO_SERVER_H_
