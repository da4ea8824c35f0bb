import "uplot/dist/uPlot.min.css";
import "./style.css";
import { showBoard } from "./board";
import "./call.css";
import { showDoor, showMessage } from "./join";
import { showLobby } from "./lobby";
import { showReview } from "./review";
import { enterRoom } from "./room";
import { say } from "./words";

const room = /^\/r\/[0-9a-f]{12}$/.exec(location.pathname);
const fragment = location.hash.slice(1);

if (room) {
  enterRoom(room[0]);
} else if (location.pathname === "/join" && fragment) {
  showDoor(fragment, (path) => {
    // The code leaves the address bar and the history: it is used up, and nobody should paste it on.
    history.replaceState(null, "", path);
    enterRoom(path);
  });
} else if (location.pathname === "/login" || location.pathname === "/rooms") {
  void showLobby();
} else if (location.pathname === "/board") {
  void showBoard();
} else if (location.pathname === "/review") {
  void showReview();
} else {
  showMessage(say("title"), say("noInvite"));
}
