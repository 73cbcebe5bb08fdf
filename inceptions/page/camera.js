// A picture from the camera, for page.js: on a telephone by its own camera, elsewhere by a window with what the camera sees.

const byId = (id) => document.getElementById(id);

/** Show the button where there is a way to a camera; `give` gets a list of one file. */
export function setUpCamera(give) {
  const isTelephone = matchMedia("(pointer: coarse)").matches;
  const hasStream = Boolean(navigator.mediaDevices?.getUserMedia); // of pages from https and this machine only
  byId("camera").hidden = !isTelephone && !hasStream;
  byId("camera").addEventListener("click", () => (isTelephone ? byId("shot").click() : look(give)));
  byId("shot").addEventListener("change", ({ target }) => {
    give(target.files);
    target.value = "";
  });
}

async function look(give) {
  const [lens, view, button] = [byId("lens"), byId("view"), byId("take")];
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    give([], `There is no picture from the camera (${error.message}); allow it for this page, or choose a file.`);
    return;
  }
  view.srcObject = stream;
  button.onclick = async () => {
    const canvas = new OffscreenCanvas(view.videoWidth, view.videoHeight);
    canvas.getContext("2d").drawImage(view, 0, 0);
    const blob = await canvas.convertToBlob({ type: "image/png" });
    lens.close();
    give([new File([blob], "From the camera", { type: "image/png" })]);
  };
  byId("leave").onclick = () => lens.close();
  lens.onclose = () => stream.getTracks().forEach((track) => track.stop());
  button.disabled = true; // until there is something to see, and to take
  lens.showModal();
  await view.play();
  button.disabled = false;
  button.focus();
}
