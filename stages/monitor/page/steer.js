// Buttons that steer the run, and the dialogs that ask before they do.

import { $, say } from './dom.js';

let state = null;
let busy = false;

/** Wires the buttons; `post(path, body)` resolves when the server has agreed. */
export function wireControls(post) {
  for (const button of document.querySelectorAll('.cancel'))
    button.addEventListener('click', () => button.closest('dialog').close(''));
  const act = async (path, body, done) => {
    busy = true;
    buttons();
    say($('said'), '');
    try {
      await post(path, body);
      say($('said'), done);
    } catch (error) {
      say($('said'), `Not done: ${error.message}`);
    }
    busy = false;
    buttons();
  };
  $('pause').addEventListener('click', () => {
    if (state === 'paused') act('resume', undefined, 'Goes on.');
    else act('pause', undefined, 'Opens no new epochs; those that are open are finished.');
  });
  $('stop').addEventListener('click', async () => {
    if ((await ask($('stop-dialog'))) === 'stop') act('stop', undefined, 'Finishes the open epochs, then ends.');
  });
  $('pace').addEventListener('click', async () => {
    const form = $('pace-dialog').querySelector('form');
    form.reset();
    if ((await ask($('pace-dialog'))) !== 'set') return;
    const filled = [...new FormData(form)]
      .filter(([, text]) => text !== '')
      .map(([name, text]) => [name, Number(text)]);
    if (filled.length) act('control', Object.fromEntries(filled), 'Changed, from the next epoch on.');
  });
}

/** What can be done in a state; nothing while there is no connection. */
export function showControls(now) {
  state = now;
  buttons();
}

function buttons() {
  const can = ['running', 'paused'].includes(state) && !busy;
  say($('pause'), state === 'paused' ? 'Resume' : 'Pause');
  for (const name of ['pause', 'pace', 'stop']) $(name).disabled = !can;
}

/** Shows a dialog and resolves to the value of the button that closed it. */
function ask(dialog) {
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener('close', () => resolve(dialog.returnValue), { once: true }));
}

/** Asks for the token; `null` if the person has none. */
export async function askToken(wrong) {
  say(
    $('token-why'),
    wrong
      ? 'The server does not accept this token.'
      : 'The server asks for a token, which is kept only as long as this tab.',
  );
  $('token').value = '';
  const answer = await ask($('token-dialog'));
  const token = $('token').value.trim();
  $('token').value = '';
  return answer === 'give' && token ? token : null;
}
