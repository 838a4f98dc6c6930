// The token stands after the # of the printed address, which browsers do not send. It is taken out of the address at once.
const form = document.getElementById("login");
const field = document.getElementById("token");
const hint = document.getElementById("hint");

async function logIn() {
  try {
    const answer = await fetch("/login", { method: "POST", body: new URLSearchParams({ token: field.value.trim() }) });
    if (answer.ok) {
      location.replace("/");
      return;
    }
    hint.textContent = (await answer.json()).error.message;
  } catch {
    hint.textContent = "The server does not answer.";
  }
  field.select();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  logIn();
});

const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) {
  history.replaceState(null, "", location.pathname);
  field.value = given;
  logIn();
}
