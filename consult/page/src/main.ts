import "uplot/dist/uPlot.min.css";
import "./style.css";
import { showDoor, showMessage } from "./join";
import { enterRoom } from "./room";
import { say } from "./words";

const room = /^\/r\/[0-9a-f]{12}$/.exec(location.pathname);
const invite = location.hash.slice(1);

if (room) {
  enterRoom(room[0]);
} else if (location.pathname === "/join" && invite) {
  showDoor(invite, (path) => {
    // The code leaves the address bar and the history: it is used up, and nobody should paste it on.
    history.replaceState(null, "", path);
    enterRoom(path);
  });
} else {
  showMessage(say("title"), say("noInvite"));
}
